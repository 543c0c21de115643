// Package fleet is what a chaos run runs and breaks: replicas of the built gateway (Replica), each behind a proxy of its
// own to the database, with a clock (Clock) and a disk (Disk) of its own.
//
// A replica keeps its address over its whole life, so that workers find it again, and its log of all starts. What is done
// to it is what happens to processes: it is killed, stopped, frozen and thawed, started again on the same directory or,
// after Lose, on an empty one; the lost directory is kept for the checker, which must know what the dead one had written.
package fleet
