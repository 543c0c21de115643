package entry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// The payload of a journal frame is an Entry in the Protocol Buffers wire format, written by hand because it is on every
// call's path. Any protobuf decoder reads it with this schema; fields are only ever added:
//
//	message Entry {
//	  uint32 kind = 1;      bytes id = 2;         sfixed64 time = 3;   // Unix nanoseconds
//	  bytes resolves = 4;   bytes parent = 5;     bytes trace = 6;
//	  string customer = 7;  string team = 8;      string key = 9;      string key_id = 10;
//	  string user = 11;     string client = 12;   string action = 13;
//	  string upstream = 14; string target = 15;   string on_behalf = 16; string source = 17;
//	  string revision = 18; repeated string rules = 19; repeated string limits = 20;
//	  uint32 attempt = 21;  bool counted = 22;    bytes digest = 23;
//	  int64 hold = 24;      int64 worst = 25;     int64 hold_tokens = 26; int64 worst_tokens = 27;
//	  string price_list = 28; map<string, int64> prices = 29;
//	  int64 cost = 30;      Quantities quantities = 31; bool estimated = 32;
//	  string status = 33;   int32 code = 34;      int64 latency = 35;  string detail = 36; // nanoseconds
//	  bytes result = 37;    string payload = 38;
//	}
//	message Quantities {
//	  int64 input = 1; int64 cache_read = 2; int64 cache_write = 3; int64 cache_write_1h = 4; int64 output = 5;
//	  int64 reasoning = 6; int64 audio_input = 7; int64 audio_output = 8; int64 image = 9; int64 web_searches = 10;
//	  int64 seconds = 11; int64 calls = 12;
//	}
const (
	fKind = iota + 1
	fID
	fTime
	fResolves
	fParent
	fTrace
	fCustomer
	fTeam
	fKey
	fKeyID
	fUser
	fClient
	fAction
	fUpstream
	fTarget
	fOnBehalf
	fSource
	fRevision
	fRules
	fLimits
	fAttempt
	fCounted
	fDigest
	fHold
	fWorst
	fHoldTokens
	fWorstTokens
	fPriceList
	fPrices
	fCost
	fQuantities
	fEstimated
	fStatus
	fCode
	fLatency
	fDetail
	fResult
	fPayload
)

// The wire types of Protocol Buffers that are used.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

func putInt(b []byte, field int, v int64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireVarint)
	return binary.AppendUvarint(b, uint64(v))
}

func putBool(b []byte, field int, v bool) []byte {
	if !v {
		return b
	}
	return putInt(b, field, 1)
}

func putString[T ~string | ~[]byte](b []byte, field int, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return putItem(b, field, v)
}

// putItem writes one item of a list or map: unlike a field it is there when it is empty.
func putItem[T ~string | ~[]byte](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func putID(b []byte, field int, id ID) []byte {
	if id.IsZero() {
		return b
	}
	return putString(b, field, id[:])
}

func putTime(b []byte, t int64) []byte {
	b = append(b, fTime<<3|wireFixed64)
	return binary.LittleEndian.AppendUint64(b, uint64(t))
}

// Append appends e as a journal payload, which Decode reads, to b. It allocates nothing but b's growth.
func (e *Entry) Append(b []byte) []byte {
	b = putInt(b, fKind, int64(e.Kind))
	b = putID(b, fID, e.ID)
	b = putTime(b, e.Time.UnixNano())
	b = putID(b, fResolves, e.Resolves)
	b = putID(b, fParent, e.Parent)
	if e.Trace != (TraceID{}) {
		b = putString(b, fTrace, e.Trace[:])
	}
	b = e.Who.appendTo(b)
	b = putString(b, fAction, e.Action)
	b = putString(b, fUpstream, e.Upstream)
	b = putString(b, fTarget, e.Target)
	b = putString(b, fOnBehalf, e.OnBehalf)
	b = putString(b, fSource, e.Source)
	b = putString(b, fRevision, e.Revision)
	for _, r := range e.Rules {
		b = putItem(b, fRules, r)
	}
	for _, l := range e.Limits {
		b = putItem(b, fLimits, l)
	}
	b = putInt(b, fAttempt, int64(e.Attempt))
	b = putBool(b, fCounted, e.Counted)
	if e.Digest != (Digest{}) {
		b = putString(b, fDigest, e.Digest[:])
	}
	b = e.appendAmounts(b)
	b = putString(b, fStatus, e.Status)
	b = putInt(b, fCode, int64(e.Code))
	b = putInt(b, fLatency, int64(e.Latency))
	b = putString(b, fDetail, e.Detail)
	if e.Result != (Digest{}) {
		b = putString(b, fResult, e.Result[:])
	}
	return putString(b, fPayload, e.Payload)
}

func (w *Who) appendTo(b []byte) []byte {
	b = putString(b, fCustomer, w.Customer)
	b = putString(b, fTeam, w.Team)
	b = putString(b, fKey, w.Key)
	b = putString(b, fKeyID, w.KeyID)
	b = putString(b, fUser, w.User)
	return putString(b, fClient, w.Client)
}

func (e *Entry) appendAmounts(b []byte) []byte {
	b = putInt(b, fHold, int64(e.Hold))
	b = putInt(b, fWorst, int64(e.Worst))
	b = putInt(b, fHoldTokens, e.HoldTokens)
	b = putInt(b, fWorstTokens, e.WorstTokens)
	b = putString(b, fPriceList, e.PriceList)
	for name, price := range e.Prices {
		var scratch [64]byte
		item := putInt(putString(scratch[:0], 1, name), 2, int64(price))
		b = putItem(b, fPrices, item)
	}
	b = putInt(b, fCost, int64(e.Cost))
	if e.Quantities != (Quantities{}) {
		var scratch [12 * 11]byte
		b = putString(b, fQuantities, e.Quantities.appendTo(scratch[:0]))
	}
	return putBool(b, fEstimated, e.Estimated)
}

// fields lists the quantities in the order of their field numbers.
func (q *Quantities) fields() [12]*int64 {
	return [...]*int64{&q.InputTokens, &q.CacheReadTokens, &q.CacheWriteTokens, &q.CacheWrite1hTokens, &q.OutputTokens,
		&q.ReasoningTokens, &q.AudioInputTokens, &q.AudioOutputTokens, &q.ImageTokens, &q.WebSearches, &q.Seconds, &q.Calls}
}

func (q *Quantities) appendTo(b []byte) []byte {
	for i, v := range q.fields() {
		b = putInt(b, i+1, *v)
	}
	return b
}

var errWire = errors.New("not an entry: the payload ends early")

// wire is one field as read.
type wire struct {
	field int
	num   uint64 // of a varint or fixed64
	bytes []byte // of the rest
}

// nextField reads one field off b.
func nextField(b []byte) (f wire, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return f, nil, errWire
	}
	b = b[n:]
	f.field = int(tag >> 3)
	switch tag & 7 {
	case wireVarint:
		f.num, n = binary.Uvarint(b)
		if n <= 0 {
			return f, nil, errWire
		}
		return f, b[n:], nil
	case wireFixed64:
		if len(b) < 8 {
			return f, nil, errWire
		}
		f.num = binary.LittleEndian.Uint64(b)
		return f, b[8:], nil
	case wireFixed32:
		if len(b) < 4 {
			return f, nil, errWire
		}
		f.num = uint64(binary.LittleEndian.Uint32(b))
		return f, b[4:], nil
	case wireBytes:
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return f, nil, errWire
		}
		f.bytes = b[n : n+int(length)]
		return f, b[n+int(length):], nil
	}
	return f, nil, fmt.Errorf("not an entry: wire type %d", tag&7)
}

// Decode reads an entry from a journal payload. Fields it does not know are skipped. It keeps nothing of b.
func Decode(b []byte) (Entry, error) {
	var d Decoder
	return d.Decode(b)
}

// namesMax bounds what a decoder remembers.
const namesMax = 10_000

// Decoder reads entries and makes each text that occurs again and again only once: names of keys, targets, rules. The
// zero Decoder makes every text anew. It is for one goroutine.
type Decoder struct {
	names map[string]string
}

// NewDecoder returns a decoder that remembers.
func NewDecoder() Decoder { return Decoder{map[string]string{}} }

func (d *Decoder) name(b []byte) string {
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.names != nil {
		if len(d.names) >= namesMax {
			clear(d.names)
		}
		d.names[s] = s
	}
	return s
}

// Decode reads an entry as the function Decode does.
func (d *Decoder) Decode(b []byte) (Entry, error) {
	var e Entry
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return e, err
		}
		if err := d.set(&e, &f); err != nil {
			return e, err
		}
		b = rest
	}
	if e.Kind == 0 || e.ID.IsZero() || e.Time.IsZero() {
		return e, errors.New("not an entry: it lacks its kind, id or time")
	}
	return e, nil
}

func (d *Decoder) set(e *Entry, f *wire) error {
	if text := e.text(f.field); text != nil {
		*text = d.name(f.bytes)
		return nil
	}
	if num := e.number(f.field); num != nil {
		*num = int64(f.num)
		return nil
	}
	switch f.field {
	case fKind:
		e.Kind = Kind(f.num)
	case fID:
		copy(e.ID[:], f.bytes)
	case fTime:
		e.Time = time.Unix(0, int64(f.num)).UTC()
	case fResolves:
		copy(e.Resolves[:], f.bytes)
	case fParent:
		copy(e.Parent[:], f.bytes)
	case fTrace:
		copy(e.Trace[:], f.bytes)
	case fDigest:
		copy(e.Digest[:], f.bytes)
	case fResult:
		copy(e.Result[:], f.bytes)
	case fAction:
		e.Action = policy.Action(d.name(f.bytes))
	case fStatus:
		e.Status = Status(d.name(f.bytes))
	case fRules:
		e.Rules = append(e.Rules, d.name(f.bytes))
	case fLimits:
		e.Limits = append(e.Limits, d.name(f.bytes))
	case fDetail:
		e.Detail = string(f.bytes)
	case fAttempt:
		e.Attempt = int(f.num)
	case fCode:
		e.Code = int(f.num)
	case fCounted:
		e.Counted = f.num != 0
	case fEstimated:
		e.Estimated = f.num != 0
	case fPrices:
		return e.setPrice(f.bytes)
	case fQuantities:
		return e.Quantities.parse(f.bytes)
	}
	return nil
}

// text returns where the string of a field goes.
func (e *Entry) text(field int) *string {
	switch field {
	case fCustomer:
		return &e.Who.Customer
	case fTeam:
		return &e.Who.Team
	case fKey:
		return &e.Who.Key
	case fKeyID:
		return &e.Who.KeyID
	case fUser:
		return &e.Who.User
	case fClient:
		return &e.Who.Client
	case fUpstream:
		return &e.Upstream
	case fTarget:
		return &e.Target
	case fOnBehalf:
		return &e.OnBehalf
	case fSource:
		return &e.Source
	case fRevision:
		return &e.Revision
	case fPriceList:
		return &e.PriceList
	case fPayload:
		return &e.Payload
	}
	return nil
}

// number returns where the number of a field goes.
func (e *Entry) number(field int) *int64 {
	switch field {
	case fHold:
		return (*int64)(&e.Hold)
	case fWorst:
		return (*int64)(&e.Worst)
	case fHoldTokens:
		return &e.HoldTokens
	case fWorstTokens:
		return &e.WorstTokens
	case fCost:
		return (*int64)(&e.Cost)
	case fLatency:
		return (*int64)(&e.Latency)
	}
	return nil
}

func (e *Entry) setPrice(b []byte) error {
	var name string
	var price Nano
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		switch f.field {
		case 1:
			name = string(f.bytes)
		case 2:
			price = Nano(f.num)
		}
		b = rest
	}
	if e.Prices == nil {
		e.Prices = map[string]Nano{}
	}
	e.Prices[name] = price
	return nil
}

func (q *Quantities) parse(b []byte) error {
	into := q.fields()
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		if f.field >= 1 && f.field <= len(into) {
			*into[f.field-1] = int64(f.num)
		}
		b = rest
	}
	return nil
}
