package journal

import (
	"encoding/binary"
	"fmt"
)

// Raw is a frame as it stands in a file, for whoever keeps frames elsewhere and checks their places by itself.
type Raw struct {
	Seq     uint64
	Chain   Chain
	Payload []byte // of Bytes
	Bytes   []byte // the whole frame, as the package comment specifies it
}

// ReadRaw reads the frame at the start of b and returns what follows it. It checks the checksum, not the place.
func ReadRaw(b []byte) (r Raw, rest []byte, err error) {
	if len(b) < frameBytes {
		return r, nil, fmt.Errorf("%w: %d bytes", errTorn, len(b))
	}
	length := int(binary.LittleEndian.Uint32(b))
	switch {
	case length == 0 || length > PayloadBytesMax:
		return r, nil, fmt.Errorf("%w: a length of %d bytes", errTorn, length)
	case len(b) < frameBytes+length:
		return r, nil, fmt.Errorf("%w: %d of %d bytes", errTorn, len(b), frameBytes+length)
	}
	f := b[:frameBytes+length]
	if checksum(f[:4], f[8:]) != binary.LittleEndian.Uint32(f[4:]) {
		return r, nil, fmt.Errorf("%w: it does not match its checksum", errTorn)
	}
	r = Raw{Seq: binary.LittleEndian.Uint64(f[16:]), Payload: f[frameBytes:], Bytes: f}
	copy(r.Chain[:], f[24:])
	return r, b[len(f):], nil
}

// Follows reports whether r continues a hash chain that stands at before.
func (r *Raw) Follows(before Chain) bool { return r.Chain == next(before, r.Seq, r.Payload) }

// AppendRaw appends the frame of payload, the one after before, to b and returns its chain value. It is for tests and for
// whoever writes frames elsewhere than to a Journal.
func AppendRaw(b []byte, before Chain, seq uint64, payload []byte) ([]byte, Chain) {
	return appendFrame(b, before, seq, 0, payload)
}

// Begin is the chain value before the first frame of w in a journal whose last chain value is last.
func Begin(w Writer, last Chain) Chain { return begin(w, last) }
