package s3_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/internal/s3test"
	"github.com/tollgate/tollgate/internal/secret"
)

func bucket(store *s3test.Store) *s3.Bucket {
	return &s3.Bucket{
		Endpoint: store.URL, Name: s3test.Bucket, Region: s3test.Region, PathStyle: true, AccessKey: s3test.AccessKey,
		SecretKey: secret.New(s3test.SecretKey), HTTP: dial.Sinks.Client(""),
	}
}

func TestPut(t *testing.T) {
	store := s3test.New(t)
	b := bucket(store)
	until := time.Now().Add(time.Hour)
	for _, o := range []s3.Object{
		{Key: "a", Body: []byte("one")},
		{Key: "dt=2026-11-24/hour=07/a b+c$ü'()*!.jsonl.gz", Body: []byte("two"), ContentType: "application/gzip"},
		{Key: "a//b/../c/./d%2Fe?f#g", Body: nil, ContentEncoding: "gzip"},
		{Key: "locked", Body: []byte("x"), RetainUntil: until},
		{Key: "a", Body: []byte("again")},
	} {
		if err := b.Put(t.Context(), o); err != nil {
			t.Fatalf("%q: %v; the store says %q", o.Key, err, store.Refused())
		}
		got := store.Objects()[o.Key]
		if string(got.Body) != string(o.Body) || got.Header.Get("Content-Type") != o.ContentType || got.Header.Get("Content-Encoding") != o.ContentEncoding {
			t.Errorf("%q: stored %q with %v", o.Key, got.Body, got.Header)
		}
	}
	if got := store.Objects()["locked"].Header.Get("X-Amz-Object-Lock-Retain-Until-Date"); got != until.UTC().Format(time.RFC3339) {
		t.Errorf("locked until %q", got)
	}
	if n := len(store.Objects()); n != 4 {
		t.Errorf("%d objects", n)
	}
}

// What the store does not take is an *Error that says how to mend it and names nothing secret.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*s3.Bucket, *s3.Object)
		want   string
	}{
		"secret":       {func(b *s3.Bucket, _ *s3.Object) { b.SecretKey = secret.New("wrong") }, "403 SignatureDoesNotMatch: check the access key"},
		"access key":   {func(b *s3.Bucket, _ *s3.Object) { b.AccessKey = "AKIDOTHER" }, "403 SignatureDoesNotMatch"},
		"region":       {func(b *s3.Bucket, _ *s3.Object) { b.Region = "us-east-1" }, "403 SignatureDoesNotMatch"},
		"clock":        {func(b *s3.Bucket, _ *s3.Object) { b.Now = func() time.Time { return time.Now().Add(-time.Hour) } }, "this machine's clock"},
		"bucket":       {func(b *s3.Bucket, _ *s3.Object) { b.Name = "other" }, "404 NoSuchBucket: check the bucket's name"},
		"empty key":    {func(_ *s3.Bucket, o *s3.Object) { o.Key = "" }, "a key has 1 to 1024 bytes"},
		"leading /":    {func(_ *s3.Bucket, o *s3.Object) { o.Key = "/a" }, "a key has 1 to 1024 bytes"},
		"too long key": {func(_ *s3.Bucket, o *s3.Object) { o.Key = strings.Repeat("k", 1025) }, "a key has 1 to 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			store := s3test.New(t)
			b, o := bucket(store), s3.Object{Key: "a", Body: []byte("body")}
			tt.change(b, &o)
			err := b.Put(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), s3test.SecretKey) || strings.Contains(err.Error(), store.URL.Host)) {
				t.Errorf("the error says too much: %v", err)
			}
			if len(store.Objects()) != 0 {
				t.Error("stored")
			}
		})
	}
}

func TestBroken(t *testing.T) {
	store := s3test.New(t)
	b := bucket(store)
	store.Break(func(string) s3test.Fault { return s3test.Lost })
	var refused *s3.Error
	if err := b.Put(t.Context(), s3.Object{Key: "lost"}); !asError(err, &refused) || refused.Code != "SlowDown" || refused.RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
	store.Break(func(string) s3test.Fault { return s3test.Kept })
	if err := b.Put(t.Context(), s3.Object{Key: "kept"}); err == nil || asError(err, &refused) || strings.Contains(err.Error(), store.URL.Host) {
		t.Errorf("%v", err)
	}
	if got := store.Objects(); len(got) != 1 || got["kept"].Header == nil {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, s3.Object{Key: "cancelled"}); err == nil {
		t.Error("put with a context that ended")
	}
}

func asError(err error, target **s3.Error) bool {
	e, ok := err.(*s3.Error)
	*target = e
	return ok
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		bucket s3.Bucket
		want   string
	}{
		{s3.Bucket{Endpoint: s3.Endpoint("eu-central-1"), Name: "records"}, "https://records.s3.eu-central-1.amazonaws.com/k"},
		{s3.Bucket{Endpoint: s3.Endpoint("eu-central-1"), Name: "records", PathStyle: true}, "https://s3.eu-central-1.amazonaws.com/records/k"},
		{s3.Bucket{Endpoint: s3.Endpoint("eu-central-1"), Name: "my.records"}, "https://s3.eu-central-1.amazonaws.com/my.records/k"},
		{s3.Bucket{Endpoint: &url.URL{Scheme: "http", Host: "127.0.0.1:9000"}, Name: "records", PathStyle: true}, "http://127.0.0.1:9000/records/k"},
	} {
		var got string
		tt.bucket.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})}
		if err := tt.bucket.Put(t.Context(), s3.Object{Key: "k"}); err != nil || got != tt.want {
			t.Errorf("%s, %v, want %s", got, err, tt.want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
