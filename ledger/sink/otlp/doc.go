// Package otlp is the sink that sends entries as log records by OTLP over HTTP in protobuf: to an OpenTelemetry Collector and
// to whatever speaks that protocol. Unlike an SDK's exporter it drops nothing: a batch counts when the receiver has
// answered, and an answer that says that it rejected records has them looked for one by one.
//
// A record's body is the entry in the sink's shape; its attributes are those of the semantic conventions where there are
// some (gen_ai.*, mcp.*) and tollgate.* beside. Its trace id is that of the call.
package otlp
