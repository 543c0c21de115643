package s3test

import (
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The credentials that the store knows.
const (
	AccessKey = "AKIDEXAMPLE"
	SecretKey = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
	Region    = "eu-test-1"
	Bucket    = "records"
)

// skewMax is by how much a request's clock may be off, as S3 has it.
const skewMax = 15 * time.Minute

// Fault is how a request is broken.
type Fault uint8

// The faults.
const (
	None Fault = iota
	Lost       // 503, nothing stored
	Kept       // stored, and the connection cut before the answer
)

// Object is what was stored.
type Object struct {
	Body   []byte
	Header http.Header
}

// Store is a running store. All methods are safe for concurrent use.
type Store struct {
	URL *url.URL

	mu      sync.Mutex
	objects map[string]Object
	refused []string
	fault   func(key string) Fault
}

// New starts a store for path-style requests; it ends with the test.
func New(t testing.TB) *Store {
	s := &Store{objects: map[string]Object{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL, _ = url.Parse(server.URL)
	return s
}

// Break sets what happens to each request that is right; nil: it succeeds.
func (s *Store) Break(fault func(key string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Objects is what is stored, by key.
func (s *Store) Objects() map[string]Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// Refused says why requests were refused.
func (s *Store) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, "/"+Bucket+"/")
	switch wrong := check(r, body, time.Now()); {
	case wrong != "":
		s.refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", wrong)
	case r.Method != http.MethodPut:
		s.refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	case !ok:
		s.refuse(w, http.StatusNotFound, "NoSuchBucket", r.URL.Path)
	default:
		s.put(w, key, Object{body, r.Header.Clone()})
	}
}

func (s *Store) refuse(w http.ResponseWriter, status int, code, why string) {
	s.mu.Lock()
	s.refused = append(s.refused, why)
	s.mu.Unlock()
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, "see the test")
}

func (s *Store) put(w http.ResponseWriter, key string, o Object) {
	s.mu.Lock()
	fault := None
	if s.fault != nil {
		fault = s.fault(key)
	}
	if fault != Lost {
		s.objects[key] = o
	}
	s.mu.Unlock()
	switch fault {
	case Lost:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
	case Kept:
		panic(http.ErrAbortHandler)
	}
}

// check says what is wrong with a request's signature, or nothing.
func check(r *http.Request, body []byte, now time.Time) string {
	sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "no signature of version 4"
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(sent, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[name] = value
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || now.Sub(at).Abs() > skewMax {
		return "the clock is off"
	}
	scope := at.Format("20060102") + "/" + Region + "/s3/aws4_request"
	if part["Credential"] != AccessKey+"/"+scope {
		return "credential " + part["Credential"]
	}
	if hash := fmt.Sprintf("%x", sha256.Sum256(body)); r.Header.Get("X-Amz-Content-Sha256") != hash {
		return "the body is not what was signed"
	}
	if sum := md5.Sum(body); cmp.Or(r.Header.Get("Content-MD5"), "-") != base64.StdEncoding.EncodeToString(sum[:]) {
		return "Content-MD5 is missing or wrong"
	}
	canonical, wrong := canonicalOf(r, strings.Split(part["SignedHeaders"], ";"))
	if wrong != "" {
		return wrong
	}
	text := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", r.Header.Get("X-Amz-Date"), scope, sha256.Sum256([]byte(canonical)))
	k := hash(hash(hash(hash([]byte("AWS4"+SecretKey), at.Format("20060102")), Region), "s3"), "aws4_request")
	if want := fmt.Sprintf("%x", hash(k, text)); part["Signature"] != want {
		return "the signature is not that of\n" + canonical
	}
	return ""
}

func hash(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, text)
	return h.Sum(nil)
}

// canonicalOf is the canonical request as the store sees it, or what is wrong with the list of signed headers.
func canonicalOf(r *http.Request, signed []string) (string, string) {
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return "", "the signed headers are not sorted or without host"
	}
	for name := range r.Header {
		if name = strings.ToLower(name); (strings.HasPrefix(name, "x-amz-") || name == "content-md5") && !slices.Contains(signed, name) {
			return "", name + " is not signed"
		}
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	plain, err := url.PathUnescape(path)
	if err != nil {
		return "", "the path is not one"
	}
	var uri strings.Builder
	for _, c := range []byte(plain) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/", c) >= 0 {
			uri.WriteByte(c)
		} else {
			fmt.Fprintf(&uri, "%%%02X", c)
		}
	}
	text := r.Method + "\n" + uri.String() + "\n" + query + "\n"
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		text += name + ":" + strings.TrimSpace(value) + "\n"
	}
	return text + "\n" + strings.Join(signed, ";") + "\n" + r.Header.Get("X-Amz-Content-Sha256"), ""
}
