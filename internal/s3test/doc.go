// Package s3test is an object store for tests: it takes PUT requests as Amazon S3 documents them and is strict where the
// real one is. It works out every signature anew from what came over the wire, with code of its own, and refuses a wrong
// one, an unsigned x-amz header, a body that is not the one that was signed, and a clock that is off. It can be broken
// both ways: refused and not stored, stored and the answer lost.
package s3test
