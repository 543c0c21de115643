package oauth

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/tollgate/tollgate/internal/secret"
)

// A minted key is mintedPrefix, randomChars of base62 (131 bits) and a checksum, so that secret scanners know one when
// they see it and a typo is found without a lookup.
const (
	mintedPrefix  = "tg_sk_"
	randomChars   = 22
	checksumChars = 6 // 62^6 > 2^32
	mintedChars   = len(mintedPrefix) + randomChars + checksumChars
	shownChars    = 10 // of a minted key, in lists: enough to tell keys apart, nothing to guess by

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newSecret mints the text of a key.
func newSecret() secret.String {
	text := append(make([]byte, 0, mintedChars), mintedPrefix...)
	for len(text) < len(mintedPrefix)+randomChars {
		var random [2 * randomChars]byte
		_, _ = rand.Read(random[:]) // never fails: it ends the process instead
		for _, b := range random {
			// 248 is the largest multiple of 62 in a byte: above it the first characters would be likelier.
			if b < 248 && len(text) < len(mintedPrefix)+randomChars {
				text = append(text, base62[b%62])
			}
		}
	}
	return secret.New(string(appendChecksum(text)))
}

func appendChecksum(text []byte) []byte {
	sum := checksum(text)
	return append(text, sum[:]...)
}

// checksum writes the CRC-32 of text in base62.
func checksum(text []byte) [checksumChars]byte {
	sum := crc32.ChecksumIEEE(text)
	var digits [checksumChars]byte
	for i := range digits {
		digits[len(digits)-1-i] = base62[sum%62]
		sum /= 62
	}
	return digits
}

// looksMinted reports whether text claims to be a minted key.
func looksMinted(text string) bool { return strings.HasPrefix(text, mintedPrefix) }

// wellFormed reports whether text, which looks minted, has its length and checksum.
func wellFormed(text []byte) bool {
	if len(text) != mintedChars {
		return false
	}
	body, end := text[:mintedChars-checksumChars], text[mintedChars-checksumChars:]
	return checksum(body) == [checksumChars]byte(end)
}
