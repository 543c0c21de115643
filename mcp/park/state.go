package park

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/seal"
)

const (
	// statePrefix tells the gateway's states from a server's own and says how they are to be read.
	statePrefix = "tollgate-input.2."
	// purpose is what states are sealed for.
	purpose = "requestState"
)

// What a state stands for.
const (
	parked = 'p' // a call that waits
	again  = 'a' // nothing: the server has refused the call until a page was visited, and the retry is a new call
)

// Request is what a state is bound to.
type Request struct {
	KeyID, Key, User    string // the principal
	Space, Method, Name string // as the caller wrote them
	Server, Target      string // what they mean
	Args                []byte // raw; nil: none
}

// sum tells requests apart.
func (r *Request) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	var n [8]byte
	for _, s := range [...]string{r.KeyID, r.Key, r.User, r.Space, r.Method, r.Name, r.Server, r.Target} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	h.Write(strictjson.AppendCanonical(nil, r.Args))
	h.Sum(sum[:0])
	return sum
}

// owner is whose call it is, for what is counted per principal.
func (r *Request) owner() string { return r.KeyID + "\x00" + r.Key + "\x00" + r.User }

// Place names a process among those that share a sealer. The zero Place is that of a process which is alone.
type Place [16]byte

// callID names a call in this and any other process.
type callID [16]byte

// State is what a caller holds between two of its requests, opened.
type State struct {
	kind    byte
	place   Place             // where a parked call waits
	id      callID            // of it
	turn    uint32            // parked: how often it has asked; again: how many pages
	expires int64             // Unix seconds
	sum     [sha256.Size]byte // of the request
}

// stateBytes is the length of a State before it is sealed.
const stateBytes = 1 + 16 + 16 + 4 + 8 + sha256.Size

func (s *State) seal(with *seal.Sealer) string {
	b := make([]byte, 0, stateBytes)
	b = append(append(b, s.kind), s.place[:]...)
	b = append(b, s.id[:]...)
	b = binary.BigEndian.AppendUint32(b, s.turn)
	b = binary.BigEndian.AppendUint64(b, uint64(s.expires))
	b = append(b, s.sum[:]...)
	return statePrefix + with.Seal(purpose, b)
}

// unseal reads a state; false: it is not one of ours, or not as we gave it.
func unseal(with *seal.Sealer, text string) (*State, bool) {
	sealed, ok := strings.CutPrefix(text, statePrefix)
	if !ok {
		return nil, false
	}
	b, err := with.Open(purpose, sealed)
	if err != nil || len(b) != stateBytes {
		return nil, false
	}
	s := &State{kind: b[0]}
	b = b[1+copy(s.place[:], b[1:]):]
	b = b[copy(s.id[:], b):]
	s.turn, b = binary.BigEndian.Uint32(b), b[4:]
	s.expires, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	copy(s.sum[:], b)
	return s, true
}

// check refuses what the state was not given for.
func (s *State) check(r *Request) *rpc.Error {
	if sum := r.sum(); !bytes.Equal(sum[:], s.sum[:]) {
		return foreign()
	}
	if time.Now().Unix() >= s.expires {
		return lost()
	}
	return nil
}

// foreign says nothing of what is wrong, so that states cannot be tried out.
func foreign() *rpc.Error {
	return rpc.BadParams("requestState is not one that was given for this request: send it back unchanged, with the same params and key")
}

// Lost is the answer to a state whose call is gone, or the process it waited in.
func Lost() *rpc.Error { return lost() }

func lost() *rpc.Error {
	return rpc.BadParams("the input request has expired or was lost; call again")
}

func used() *rpc.Error {
	return rpc.BadParams("this input request has been answered already")
}
