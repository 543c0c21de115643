// Package vendor is the table of LLM vendors: which dialects each one speaks and under which path, how it takes a key,
// and where it differs from the others. On a request's path it stands between the choice of a target and the gate: the
// proxy asks Endpoint where to send a request of the dialect it holds, and Auth how to present the key. The table is
// data; no row has code of its own, and any row takes a base_url of one's own.
package vendor
