// Package checker decides whether a chaos run kept the promises. It compares what the upstreams saw with what stands in
// the journals of all replicas and with what must hold by the plan:
//
//   - every request that reached an upstream has one reservation, and every reservation one end over all journals; only
//     those of a replica that is gone for good may be open
//   - what was settled as known is what the upstream bills, to the nano-dollar; what was voided never reached it
//   - nothing stands twice: no call, no end, no pair of writer and sequence
//   - every answer and every refusal that a worker got has its line
//   - the index that the replicas share has what the journals have
//   - no limit was exceeded in any window, but by what is published: what calls cost beyond their hold
//
// It shares no code with the gateway. Journals are read by a reader of its own, from the formats as they are specified
// (ledger/journal and ledger/entry), hash chain included; amounts come from the upstreams' logs and the plan's prices.
//
// # What is certain
//
// When a reservation was made is known from outside only as an interval: after the worker sent the call, before the
// upstream received it. A window of true time is exceeded when the intervals of more calls than it may hold lie within it;
// so what is found is certain, whatever the clocks of the replicas said. The same is then asked again by the times that
// the ledger wrote. A concurrent limit counts a request from its arrival until its answer was whole or its caller had
// given up, whichever came first: a replica that was killed cannot know that an upstream is still busy. What upstreams were
// busy with beyond that is reported beside it.
package checker
