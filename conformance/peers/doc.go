// Package peers installs the real servers and clients that tollgate is driven with, by npm and pip into .cache below the
// repository, and runs the scripts of conformance/node and conformance/python with them. What is installed is printed
// first; what is installed already, by the same list, is used again.
package peers
