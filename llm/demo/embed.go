package demo

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/demo/wire"
)

// dimensions of the demo's vectors.
const dimensions = 64

// inputsMax bounds the texts of one request, as OpenAI does.
const inputsMax = 2048

// embeddings answers with vectors that count words by their hash: equal texts are equal, and texts that share words are
// near each other.
func (s *Server) embeddings(w http.ResponseWriter, body []byte) error {
	var req struct {
		Model  string          `json:"model"`
		Input  json.RawMessage `json:"input"`
		Format string          `json:"encoding_format"`
	}
	if err := unmarshal(body, &req); err != nil {
		return err
	}
	if req.Model != Embedding {
		return unknownModel(req.Model, Embedding)
	}
	texts, err := inputs(req.Input)
	if err != nil {
		return err
	}
	tokens := 0
	vectors := make([]any, len(texts))
	for i, text := range texts {
		words := pieces(text)
		tokens += len(words)
		v := vector(words)
		vectors[i] = v
		if req.Format == "base64" {
			vectors[i] = packed(v)
		}
	}
	writeJSON(w, http.StatusOK, wire.Embeddings(Embedding, vectors, &ledger.Quantities{InputTokens: int64(tokens)}))
	return nil
}

// inputs reads a text, texts, tokens or lists of tokens; a token's number is its word.
func inputs(raw json.RawMessage) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []json.RawMessage
	if err := unmarshal(raw, &many); err != nil {
		return nil, err
	}
	if len(many) == 0 || len(many) > inputsMax {
		return nil, badRequest("input must hold 1 to %d texts", inputsMax)
	}
	texts := make([]string, len(many))
	numbers := []string{}
	for i, m := range many {
		var n int
		var list []int
		switch {
		case json.Unmarshal(m, &texts[i]) == nil:
		case json.Unmarshal(m, &n) == nil:
			numbers = append(numbers, fmt.Sprint(n))
		case json.Unmarshal(m, &list) == nil:
			texts[i] = strings.Trim(fmt.Sprint(list), "[]")
		default:
			return nil, badRequest("input %d is no text", i)
		}
	}
	if len(numbers) == len(many) {
		return []string{strings.Join(numbers, " ")}, nil
	}
	return texts, nil
}

func vector(words []string) []float64 {
	v := make([]float64, dimensions)
	for _, w := range words {
		h := fnv.New32a()
		_, _ = h.Write([]byte(strings.ToLower(strings.TrimSpace(w)))) // a hash takes everything
		v[h.Sum32()%dimensions]++
	}
	length := 0.0
	for _, x := range v {
		length += x * x
	}
	for i := range v {
		v[i] /= max(math.Sqrt(length), 1)
	}
	return v
}

// packed is v as OpenAI's SDKs ask for it: little-endian 32-bit floats in base64.
func packed(v []float64) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	return base64.StdEncoding.EncodeToString(b)
}
