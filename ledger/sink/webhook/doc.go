// Package webhook is the sink that posts entries to a URL, signed as Standard Webhooks has it: webhook-id, webhook-timestamp
// and webhook-signature, which is v1 and the HMAC-SHA256 of id, timestamp and body under the shared secret. Libraries of
// that name verify it. The id is the same for the same entries, so it tells a repetition.
//
// The body is {"type": "ledger.entries", "timestamp": TIME, "data": [ENTRY, ...]} in the order of the ledger. A line that is
// not JSON (shape cef) is a string.
package webhook
