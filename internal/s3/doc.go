// Package s3 puts objects into buckets of Amazon S3 and of what speaks its protocol: MinIO, Ceph, R2, GCS by HMAC keys.
//
// It signs by AWS Signature Version 4 with the body's hash in the signature, so a body that was changed on its way is
// refused. One request puts one object, whole or not at all; the same key again replaces it, which is what makes a
// repeated upload harmless. Who calls it decides about repeating: an *Error says whether the store refused for good.
//
// It stands beside a request's path: sinks and the export of checkpoints use it.
package s3
