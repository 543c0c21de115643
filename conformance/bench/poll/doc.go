// Package poll is a thin layer over epoll, timerfd and nonblocking TCP sockets, for the two loops of the benchmark that
// must cost less than what they measure: the mock peers and the load generator.
//
// Everything belongs to one thread: a loop waits, reads, writes and goes round. There are no locks and no goroutines, so
// a request costs little more than its two system calls, and a timerfd gives send times that do not wait for the
// granularity of runtime timers. It knows no HTTP (package wire does) and speaks to loopback only.
package poll
