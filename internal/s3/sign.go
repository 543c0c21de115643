package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// algorithm is AWS Signature Version 4.
const algorithm = "AWS4-HMAC-SHA256"

// sign adds the headers of AWS Signature Version 4 for a request with an empty query. All headers that are set by now
// are part of the signature.
func (b *Bucket) sign(req *http.Request, body []byte, now time.Time) {
	now = now.UTC()
	date, day := now.Format("20060102T150405Z"), now.Format("20060102")
	hash := hexHash(body)
	req.Header.Set("X-Amz-Date", date)
	req.Header.Set("X-Amz-Content-Sha256", hash)

	signed, headers := canonicalHeaders(req)
	canonical := strings.Join([]string{req.Method, req.URL.EscapedPath(), req.URL.RawQuery, headers, signed, hash}, "\n")
	scope := day + "/" + b.Region + "/s3/aws4_request"
	toSign := strings.Join([]string{algorithm, date, scope, hexHash([]byte(canonical))}, "\n")

	key := []byte("AWS4" + b.SecretKey.Reveal())
	for _, part := range []string{day, b.Region, "s3", "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	req.Header.Set("Authorization", algorithm+" Credential="+b.AccessKey+"/"+scope+",SignedHeaders="+signed+",Signature="+hex.EncodeToString(key))
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonicalHeaders returns the names of the signed headers and the headers as they are signed.
func canonicalHeaders(req *http.Request) (names, headers string) {
	lines := []string{"host:" + req.URL.Host}
	for name, values := range req.Header {
		lines = append(lines, strings.ToLower(name)+":"+strings.Join(strings.Fields(strings.Join(values, ",")), " "))
	}
	slices.Sort(lines)
	var signed []string
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		signed = append(signed, name)
	}
	return strings.Join(signed, ";"), strings.Join(lines, "\n") + "\n"
}

// escape writes a path as signatures want it: all but unreserved characters and slashes in percent form.
func escape(path string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return out.String()
}
