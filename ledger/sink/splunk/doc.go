// Package splunk is the sink that sends entries to Splunk's HTTP Event Collector, compressed, many events in one request.
//
// An answer of 200 says that the collector has the events in memory. With Acks the sink also waits until the indexer says
// that they are on its disk: requests carry a channel, the answer an ackId, which is asked for at /services/collector/ack.
// An indexer that never says so has the batch sent again.
package splunk
