package store

import (
	"encoding/binary"
	"errors"

	"github.com/tollgate/tollgate/ledger"
)

var errPayloads = errors.New("a row of the index is damaged")

// ParsePayloads reads the entries of a row.
func ParsePayloads(b []byte) ([]ledger.Entry, error) {
	var out []ledger.Entry
	for len(b) > 0 {
		seq, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errPayloads
		}
		writer, rest, err := sized(b[n:])
		if err != nil {
			return nil, err
		}
		wire, rest, err := sized(rest)
		if err != nil {
			return nil, err
		}
		e, err := ledger.DecodeEntry(wire)
		if err != nil {
			return nil, err
		}
		e.Seq, e.Writer = seq, string(writer)
		out = append(out, e)
		b = rest
	}
	if len(out) == 0 {
		return nil, errPayloads
	}
	return out, nil
}

// sized reads bytes behind their length.
func sized(b []byte) (part, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, errPayloads
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}

// payload appends e's journal payload and sequence to b, as ParsePayloads reads them. A new b has room for an end.
func payload(b []byte, e *ledger.Entry, wire []byte) []byte {
	if b == nil {
		b = make([]byte, 0, 2*len(wire)+2*len(e.Writer)+4*binary.MaxVarintLen32)
	}
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendUvarint(b, uint64(len(e.Writer)))
	b = append(b, e.Writer...)
	b = binary.AppendUvarint(b, uint64(len(wire)))
	return append(b, wire...)
}
