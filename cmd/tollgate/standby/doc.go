// Package standby answers for a gateway that waits for the database it shares with other replicas: it is alive and not
// ready, and refuses every call in the form that its caller reads, so that a client tries again and a balancer goes
// elsewhere. What is behind it comes later and takes its place.
package standby
