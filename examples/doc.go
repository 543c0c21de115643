// Package examples holds config files and policies that the tests of cmd/tollgate load, so that what they show is what
// the program reads: reference.yaml has every key that exists, replicas has three gateways on one database.
package examples
