// Package object is the sink that writes objects to S3 and to stores that speak its protocol. Each batch is one object,
//
//	PREFIXdt=2026-11-24/hour=07/WRITER-FIRST-LAST.jsonl.gz
//
// in folders that Athena, BigQuery, Spark and DuckDB take for columns, by the hour of the entries in UTC. The name says the
// journal's writer and the sequence numbers of the first and the last entry, so a batch that is sent again replaces itself,
// and each entry is in exactly one object. Only a sink that is rewound, or whose filter is changed while a batch is under
// way, writes entries again under other names.
package object
