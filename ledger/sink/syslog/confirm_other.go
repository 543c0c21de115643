//go:build !linux

package syslog

import "net"

// unconfirmed is not known here.
func unconfirmed(net.Conn) (n int, known bool) { return 0, false }
