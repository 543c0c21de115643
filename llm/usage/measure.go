package usage

import "bytes"

// Size is what of a request body can become input.
type Size struct {
	Bytes  int64 // of the body, without media
	Media  int64 // tokens expected of media: images, audio, documents
	Remote bool  // the body points at input that it does not hold: a URL, a file, a stored conversation
	Long   bool  // it asks for the long cache lifetime
}

// What media are expected to cost in tokens. Vendors count them by pixels, pages and seconds, none of which is known
// without decoding them; the figures are the upper end of an ordinary picture and of text pages.
const (
	mediaTokens      = 1_600
	pdfBytesPerToken = 40  // of base64
	mediaBytesMin    = 512 // shorter strings are text, whatever they look like
)

// Measure sizes a request body, which must have passed the strict scan, in one walk from string to string, without
// allocating. Base64 media are told from text by their alphabet; members that point elsewhere by their name.
func Measure(body []byte) Size {
	s := Size{Bytes: int64(len(body))}
	for i := 0; ; {
		q := bytes.IndexByte(body[i:], '"')
		if q < 0 {
			return s
		}
		i += q
		end := stringEnd(body[i:])
		if end < 0 {
			return s
		}
		text := body[i+1 : i+end-1]
		i += end
		switch {
		case len(text) >= mediaBytesMin:
			s.long(text)
		case i < len(body) && body[i] == ':':
			s.name(text, body[i+1:])
		case i < len(body) && body[i] <= ' ':
			if after := skipSpace(body[i:]); len(after) > 0 && after[0] == ':' {
				s.name(text, after[1:])
			}
		}
	}
}

// long takes a long string for media if it is base64.
func (s *Size) long(text []byte) {
	if _, rest, ok := bytes.Cut(text[:min(len(text), 128)], []byte(";base64,")); ok {
		text = text[len(text)-len(rest)-max(0, len(text)-128):]
	}
	if !base64(text) {
		return
	}
	s.Bytes -= int64(len(text))
	if bytes.HasPrefix(text, []byte("JVBERi0")) { // %PDF-
		s.Media += max(mediaTokens, int64(len(text))/pdfBytesPerToken)
		return
	}
	s.Media += mediaTokens
}

// base64 looks at both ends of text. Words and code have spaces, escapes and punctuation well within 256 bytes.
func base64(text []byte) bool {
	const look = 256
	for _, part := range [...][]byte{text[:min(look, len(text))], text[max(0, len(text)-look):]} {
		for i, c := range part {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '-', c == '_', c == '=':
			case c == '\\' && i+1 < len(part) && part[i+1] == '/': // some encoders escape the slash
			default:
				return false
			}
		}
	}
	return true
}

// name looks at a member whose value follows.
func (s *Size) name(name, value []byte) {
	switch string(name) {
	case "image_url", "url", "file_id", "file_url", "file_uri", "fileUri", "previous_response_id", "conversation", "container", "server_url", "vector_store_ids", "prompt":
	case "ttl":
		value = skipSpace(value)
		s.Long = s.Long || bytes.HasPrefix(value, []byte(`"1h"`))
		return
	default:
		s.Remote = s.Remote || escaped(name) // it could be any of these
		return
	}
	value = skipSpace(value)
	if len(value) < 2 || value[0] != '"' && value[0] != '[' && !objectReference(name, value) || bytes.HasPrefix(value, []byte(`"data:`)) || value[1] == '"' {
		return
	}
	if !s.Remote || string(name) == "url" || string(name) == "image_url" || string(name) == "file_id" {
		s.Media += mediaTokens
	}
	s.Remote = true
}

// objectReference reports whether the member's object is itself a reference, and not the place of one.
func objectReference(name, value []byte) bool {
	return value[0] == '{' && (string(name) == "conversation" || string(name) == "prompt" || string(name) == "container")
}

// escaped reports whether name has letters in escapes.
func escaped(name []byte) bool { return bytes.Contains(name, []byte(`\u`)) }
