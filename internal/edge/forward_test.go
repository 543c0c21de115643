package edge

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestForwardable(t *testing.T) {
	never := `Authorization Proxy-Authorization X-Api-Key Api-Key X-Goog-Api-Key X-Tollgate-Key X-Bf-Vk Cookie Cookie2 X-Auth-Token
		X-Amz-Security-Token X-Access-Key Ocp-Apim-Subscription-Key X-Client-Secret X-Hub-Signature Private-Token
		Connection Keep-Alive Te Trailer Transfer-Encoding Upgrade Proxy-Connection Content-Length Content-Encoding Accept-Encoding
		Host Origin Referer Expect Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Real-Ip Via Sec-Fetch-Site
		Mcp-Session-Id Traceparent X-Tollgate-Anything If-None-Match`
	for name := range strings.FieldsSeq(never) {
		if Forwardable(name) {
			t.Errorf("%s is forwardable", name)
		}
	}
	for name := range strings.FieldsSeq(`Accept Content-Type User-Agent Anthropic-Version Anthropic-Beta Openai-Beta X-Stainless-Lang Idempotency-Key X-Request-Id Session_id`) {
		if !Forwardable(name) {
			t.Errorf("%s is not forwardable", name)
		}
	}
}

// Credential and Forwardable must agree: what is read as a credential never leaves.
func TestNoCredentialHeaderIsForwardable(t *testing.T) {
	for _, name := range credentialHeaders {
		if name != http.CanonicalHeaderKey(name) || Forwardable(name) {
			t.Errorf("%s", name)
		}
	}
}

func TestReturnable(t *testing.T) {
	for name := range strings.FieldsSeq(`Set-Cookie Www-Authenticate Connection Transfer-Encoding Content-Length Access-Control-Allow-Origin Location X-Tollgate-Cost`) {
		if Returnable(name) {
			t.Errorf("%s is returnable", name)
		}
	}
	for name := range strings.FieldsSeq(`Content-Type Retry-After X-Request-Id Request-Id X-Ratelimit-Remaining-Tokens Openai-Processing-Ms Cache-Control`) {
		if !Returnable(name) {
			t.Errorf("%s is not returnable", name)
		}
	}
}

func TestHeadersNamedInConnectionStay(t *testing.T) {
	src, dst := http.Header{}, http.Header{}
	src.Add("Connection", "keep-alive, x-hop")
	src.Add("Connection", "X-Other-Hop")
	for _, name := range []string{"X-Hop", "X-Other-Hop", "X-Request-Id", "User-Agent", "X-Api-Key"} {
		src.Set(name, "v")
	}
	CopyForwardable(dst, src, func(name string) bool { return name != "User-Agent" })
	if got := slices.Sorted(maps.Keys(dst)); !slices.Equal(got, []string{"X-Request-Id"}) {
		t.Errorf("copied %v", got)
	}
	dst["X-Request-Id"][0] = "changed"
	if src.Get("X-Request-Id") != "v" {
		t.Error("the copy shares its values with the request")
	}
	clear(dst)
	src.Set("Set-Cookie", "a=b")
	CopyReturnable(dst, src, nil)
	if dst.Get("Set-Cookie") != "" || dst.Get("X-Hop") != "" || dst.Get("User-Agent") == "" {
		t.Errorf("copied %v", dst)
	}
}
