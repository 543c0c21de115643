package settings

import (
	"github.com/tollgate/tollgate/internal/s3"
)

// ObjectStore is a bucket of a store that speaks the protocol of S3, and who may write to it.
type ObjectStore struct {
	Bucket string `yaml:"bucket"`
	Region string `yaml:"region"`
	// Endpoint is where the store is. Default: Amazon's of the region.
	Endpoint string `yaml:"endpoint"`
	// PathStyle addresses the bucket as ENDPOINT/BUCKET.
	PathStyle bool `yaml:"path_style"`
	// Prefix is put before the names of objects.
	Prefix string `yaml:"prefix"`
	// AccessKey, SecretKey and SessionToken are references.
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
}

// objectStore makes the bucket that o, at path, means, without a client; false: a fault was found.
func (out *Setup) objectStore(s *Source, path string, o *ObjectStore) (s3.Bucket, bool) {
	found := len(s.found)
	for _, need := range []struct{ name, value, example string }{
		{"bucket", o.Bucket, "acme-audit"}, {"region", o.Region, "eu-central-1 (us-east-1 for a store without regions)"},
		{"access_key", o.AccessKey, "env:AWS_ACCESS_KEY_ID"}, {"secret_key", o.SecretKey, "env:AWS_SECRET_ACCESS_KEY"},
	} {
		if need.value == "" {
			s.fault(path, "an object store needs %s: write %s: %s", need.name, need.name, need.example)
		}
	}
	endpoint := s3.Endpoint(o.Region)
	if o.Endpoint != "" {
		endpoint = s.webAddress(path+".endpoint", o.Endpoint, "https://minio.example.com")
	}
	if len(s.found) > found {
		return s3.Bucket{}, false
	}
	b := s3.Bucket{
		Endpoint: endpoint, Name: o.Bucket, Region: o.Region, PathStyle: o.PathStyle,
		AccessKey: out.reference(s, path+".access_key", o.AccessKey).Reveal(), SecretKey: out.reference(s, path+".secret_key", o.SecretKey),
	}
	if o.SessionToken != "" {
		b.Token = out.reference(s, path+".session_token", o.SessionToken)
	}
	return b, true
}
