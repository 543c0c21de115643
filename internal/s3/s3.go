package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
)

const (
	// keyBytesMax is S3's own bound of an object's key.
	keyBytesMax = 1024
	// answerBytesMax bounds what is read of an answer: an error of S3 has some hundred bytes.
	answerBytesMax = 64 << 10
	// codeBytesMax bounds the error code that is quoted from an answer.
	codeBytesMax = 64
)

// Bucket is where objects go. It is immutable and safe for concurrent use.
type Bucket struct {
	Endpoint  *url.URL // scheme and host; see Endpoint for Amazon's
	Name      string
	Region    string // part of the signature: us-east-1 where a store has none
	PathStyle bool   // ENDPOINT/BUCKET/KEY instead of BUCKET.ENDPOINT/KEY

	AccessKey string
	SecretKey secret.String
	Token     secret.String // of temporary credentials; empty: none

	HTTP *http.Client     // from internal/dial
	Now  func() time.Time // nil: time.Now
}

// Object is what Put stores.
type Object struct {
	Key             string // without a leading slash
	Body            []byte
	ContentType     string
	ContentEncoding string
	// RetainUntil locks this version of the object against everybody until then (Object Lock in compliance mode), when the
	// bucket has that. Zero: as the bucket's default says.
	RetainUntil time.Time
}

// Endpoint is Amazon's for a region.
func Endpoint(region string) *url.URL {
	return &url.URL{Scheme: "https", Host: "s3." + region + ".amazonaws.com"}
}

// Error is a store's answer that is not success.
type Error struct {
	Status     int
	Code       string        // the store's, such as AccessDenied; empty: it said none
	RetryAfter time.Duration // as the store asked; 0: it did not
}

func (e *Error) Error() string {
	text := fmt.Sprintf("the object store answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	switch {
	case e.Status/100 == 3:
		text += ": the bucket is in another region or at another endpoint"
	case e.Status == http.StatusForbidden:
		text += ": check the access key, its rights to put objects, and this machine's clock"
	case e.Status == http.StatusNotFound:
		text += ": check the bucket's name and the endpoint"
	}
	return text
}

// Put stores o, replacing what has its key. An error that is no *Error means that nothing is known: the object may be
// there all the same.
func (b *Bucket) Put(ctx context.Context, o Object) error {
	req, err := b.request(ctx, &o)
	if err != nil {
		return err
	}
	resp, err := b.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("put an object: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("put an object: %w", err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		return nil
	}
	return &Error{resp.StatusCode, code(text), seconds(resp.Header.Get("Retry-After"))}
}

// withoutURL takes the address out of an error of http.Client.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func seconds(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// code is the error code of an answer, if it is one that may be shown.
func code(text []byte) string {
	var answer struct {
		Code string `xml:"Code"`
	}
	if xml.Unmarshal(text, &answer) != nil || len(answer.Code) > codeBytesMax {
		return ""
	}
	for _, c := range answer.Code {
		if c < 'A' || c > 'Z' && c < 'a' || c > 'z' {
			return ""
		}
	}
	return answer.Code
}

// request is the signed request that puts o.
func (b *Bucket) request(ctx context.Context, o *Object) (*http.Request, error) {
	if o.Key == "" || len(o.Key) > keyBytesMax || strings.HasPrefix(o.Key, "/") {
		return nil, fmt.Errorf("put an object: a key has 1 to %d bytes and begins with no slash", keyBytesMax)
	}
	u := url.URL{Scheme: b.Endpoint.Scheme, Host: b.Endpoint.Host, Path: "/" + o.Key}
	if b.PathStyle || strings.Contains(b.Name, ".") { // a certificate covers one label before the store's host
		u.Path = "/" + b.Name + u.Path
	} else {
		u.Host = b.Name + "." + u.Host
	}
	u.RawPath = escape(u.Path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(o.Body))
	if err != nil {
		return nil, errors.New("put an object: its address is not a URL")
	}
	sum := md5.Sum(o.Body) // not for secrecy: buckets with Object Lock ask for it
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	for name, value := range map[string]string{"Content-Type": o.ContentType, "Content-Encoding": o.ContentEncoding, "X-Amz-Security-Token": b.Token.Reveal()} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if !o.RetainUntil.IsZero() {
		req.Header.Set("X-Amz-Object-Lock-Mode", "COMPLIANCE")
		req.Header.Set("X-Amz-Object-Lock-Retain-Until-Date", o.RetainUntil.UTC().Format(time.RFC3339))
	}
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	b.sign(req, o.Body, now())
	return req, nil
}
