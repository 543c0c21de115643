package syslog

import (
	"net"

	"golang.org/x/sys/unix"
)

// unconfirmed is how many bytes that were written to conn the peer's kernel has not confirmed.
func unconfirmed(conn net.Conn) (n int, known bool) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		var problem error
		n, problem = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		known = problem == nil
	})
	return n, known && err == nil
}
