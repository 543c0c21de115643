// Package upstreamtest puts an upstream.Server of whatever transport behind a real gate and calls it as the gateway does.
package upstreamtest
