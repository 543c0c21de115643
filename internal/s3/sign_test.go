package s3

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
)

// The examples of Amazon's documentation, "Signature Calculations for the Authorization Header".
func TestPublishedSignatures(t *testing.T) {
	b := &Bucket{Region: "us-east-1", AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: secret.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	for _, tt := range []struct {
		method, path, query, body string
		header                    map[string]string
		signature                 string
	}{
		{"GET", "/test.txt", "", "", map[string]string{"Range": "bytes=0-9"}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"PUT", "/test$file.text", "", "Welcome to Amazon S3.", map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"GET", "/", "lifecycle=", "", nil, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
	} {
		req := &http.Request{Method: tt.method, Header: http.Header{}, URL: &url.URL{
			Host: "examplebucket.s3.amazonaws.com", Path: tt.path, RawPath: escape(tt.path), RawQuery: tt.query,
		}}
		for name, value := range tt.header {
			req.Header.Set(name, value)
		}
		b.sign(req, []byte(tt.body), time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
		if got := req.Header.Get("Authorization"); !strings.HasSuffix(got, ",Signature="+tt.signature) {
			t.Errorf("%s %s: %s", tt.method, tt.path, got)
		}
	}
}

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"<Error><Code>AccessDenied</Code></Error>":                                "AccessDenied",
		"<Error><Code>Denied by\nlog injection</Code></Error>":                    "",
		"<Error><Code>" + strings.Repeat("A", codeBytesMax+1) + "</Code></Error>": "",
		"<html><body>a proxy's page":                                              "",
		"":                                                                        "",
	} {
		if got := code([]byte(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
