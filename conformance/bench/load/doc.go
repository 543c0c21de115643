// Package load is the benchmark's generator. In the open form requests are due at a constant rate whatever comes back;
// one that finds no free connection waits in a queue, is never left out, and its latency counts from when it was due, so a
// stalled target cannot make its own figures look better (no coordinated omission). In the closed form every connection
// sends its next request as soon as it has an answer, which finds the highest rate.
//
// All of it runs on one thread over epoll and a timerfd: see package poll.
package load
