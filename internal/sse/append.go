package sse

import "bytes"

// KeepAlive is a comment block: it keeps a connection busy and means nothing.
const KeepAlive = ": keep-alive\n\n"

// Append appends e as a block to dst: its ID and Name if they are set, and its Data, a field for each line. Raw is not
// looked at. A line break in ID or Name would begin another field: what follows it is left out.
func Append(dst []byte, e Event) []byte {
	if len(e.ID) > 0 {
		dst = appendField(dst, "id", firstLine(e.ID))
	}
	if len(e.Name) > 0 {
		dst = appendField(dst, "event", firstLine(e.Name))
	}
	for data := e.Data; data != nil; {
		i := lineEnd(data)
		if i < 0 {
			dst = appendField(dst, "data", data)
			break
		}
		dst = appendField(dst, "data", data[:i])
		if bytes.HasPrefix(data[i:], []byte("\r\n")) {
			i++
		}
		data = data[i+1:]
	}
	return append(dst, '\n')
}

func appendField(dst []byte, name string, value []byte) []byte {
	dst = append(append(append(dst, name...), ": "...), value...)
	return append(dst, '\n')
}

func firstLine(text []byte) []byte {
	if i := lineEnd(text); i >= 0 {
		return text[:i]
	}
	return text
}
