// Package pgsql keeps an index in PostgreSQL, or in an engine that speaks its protocol, for several replicas. It supposes
// no more than transactions: where the server lacks tables partitioned by range (CockroachDB), calls lie in one table.
package pgsql
