// Package postgrestest runs a real PostgreSQL for tests.
//
// A package that needs one hands its tests over:
//
//	func TestMain(m *testing.M) { postgrestest.Main(m) }
//
//	func TestX(t *testing.T) { url := postgrestest.Database(t) … }
//
// Database makes a fresh, empty database on the server that TOLLGATE_TEST_DATABASE names, which `make test` sets for all
// packages (conformance/withpostgres starts one). Without it, a server of the test's own is started from the installed
// binaries, in a temporary directory, on loopback, under an unprivileged user when the tests run as root. Where there is
// none, the test is skipped and the end of the output says so; under CI it fails.
package postgrestest
