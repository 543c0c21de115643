package edge

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Limits of [Body].
type Limits struct {
	Bytes   int64         // default 4 MiB
	Timeout time.Duration // for the whole body; default 30 s
}

const (
	bytesDefault   = 4 << 20
	timeoutDefault = 30 * time.Second

	// A declared length up to eagerBytesMax is believed and gets a buffer of that size at once; beyond it, and without
	// one, the buffer grows with what has really come, so that a header alone reserves little memory.
	eagerBytesMax   = 256 << 10
	chunkedBytesFst = 8 << 10
)

// Body reads r's body whole. The content type must be application/json (a charset parameter must be utf-8): else 415.
// Too large: 413. Too slow: 408. Shorter than its Content-Length: 400. It closes the body.
//
// The bytes belong to the caller. w must be the server's own writer, or unwrap to it: a deadline is set on its connection
// and lifted again; without one there is no limit in time, and the answer is 500. After a refusal the connection is
// closed, since the rest of the body may still be on its way.
func Body(w http.ResponseWriter, r *http.Request, lim Limits) ([]byte, *Problem) {
	if lim.Bytes <= 0 {
		lim.Bytes = bytesDefault
	}
	if lim.Timeout <= 0 {
		lim.Timeout = timeoutDefault
	}
	body, p := timed(w, r, lim)
	if p != nil {
		w.Header().Set("Connection", "close")
	}
	return body, p
}

func timed(w http.ResponseWriter, r *http.Request, lim Limits) ([]byte, *Problem) {
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(lim.Timeout)); err != nil {
		return nil, &Problem{http.StatusInternalServerError, "the server cannot limit how long a request body takes"}
	}
	defer r.Body.Close() // may read on to find the end: under the deadline, too
	if !isJSON(r.Header["Content-Type"]) {
		return nil, &Problem{http.StatusUnsupportedMediaType, "the Content-Type must be application/json in UTF-8"}
	}
	if r.ContentLength > lim.Bytes {
		return nil, tooLarge(lim.Bytes)
	}
	body, err := readAll(r.Body, r.ContentLength, lim.Bytes)
	if err != nil {
		return nil, readProblem(err, lim)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, &Problem{http.StatusBadRequest, "the connection was lost while the request body was read"}
	}
	return body, nil
}

func tooLarge(bytes int64) *Problem {
	return &Problem{http.StatusRequestEntityTooLarge, "the request body is larger than " + size(bytes)}
}

func readProblem(err error, lim Limits) *Problem {
	switch {
	case errors.Is(err, errTooLarge):
		return tooLarge(lim.Bytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Problem{http.StatusRequestTimeout, "the request body did not arrive within " + lim.Timeout.String()}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Problem{http.StatusBadRequest, "the request body is shorter than its Content-Length, or cut"}
	}
	return &Problem{http.StatusBadRequest, "the request body could not be read"}
}

var errTooLarge = errors.New("body too large")

// readAll reads a body of the declared length, -1 for unknown, up to max bytes.
func readAll(body io.Reader, declared, max int64) ([]byte, error) {
	if declared >= 0 && declared <= eagerBytesMax {
		buf := make([]byte, declared)
		_, err := io.ReadFull(body, buf)
		if err == io.EOF && declared > 0 {
			err = io.ErrUnexpectedEOF
		}
		return buf, err
	}
	start, most := int64(eagerBytesMax), declared
	if declared < 0 {
		start, most = min(chunkedBytesFst, max), max
	}
	buf := make([]byte, 0, start)
	for {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF && declared >= 0 && int64(len(buf)) < declared:
			return nil, io.ErrUnexpectedEOF
		case err == io.EOF || int64(len(buf)) == declared:
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) < cap(buf):
		case int64(len(buf)) == most:
			return endOf(body, buf)
		default:
			grown := make([]byte, len(buf), min(2*int64(cap(buf)), most))
			copy(grown, buf)
			buf = grown
		}
	}
}

// endOf returns buf, which is as long as allowed, if body ends here.
func endOf(body io.Reader, buf []byte) ([]byte, error) {
	var one [1]byte
	switch n, err := io.ReadFull(body, one[:]); {
	case n > 0:
		return nil, errTooLarge
	case err == io.EOF:
		return buf, nil
	default:
		return nil, err
	}
}

// isJSON reports whether the content type headers of a request are one, and say JSON in UTF-8.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// size writes a number of bytes in the largest unit that divides it.
func size(bytes int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 20, " MiB"}, {1 << 10, " KiB"}} {
		if bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10) + " bytes"
}
