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
	prefixBytesMax   = 128 // of a data URL before its base64
)

// Measure sizes a request body, which must have passed the strict scan, in one walk from string to string, without
// allocating. Base64 media are told from text by their alphabet; members that point elsewhere by their name.
func Measure(body []byte) Size {
	s := Size{Bytes: int64(len(body))}
	for i := 0; i < len(body); {
		if body[i] != '"' {
			i++
			continue
		}
		i++
		start := i
		for i < len(body) && body[i] != '"' {
			if body[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(body) {
			break
		}
		text := body[start:i]
		i++
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
	return s
}

// long takes a long string for media if it is base64.
func (s *Size) long(text []byte) {
	if at := bytes.Index(text[:min(len(text), prefixBytesMax)], []byte(";base64,")); at >= 0 {
		text = text[at+len(";base64,"):]
	}
	if !isBase64(text) {
		return
	}
	s.Bytes -= int64(len(text))
	if bytes.HasPrefix(text, []byte("JVBERi0")) { // %PDF-
		s.Media += max(mediaTokens, int64(len(text))/pdfBytesPerToken)
		return
	}
	s.Media += mediaTokens
}

// isBase64 looks at both ends of text. Words and code have spaces, escapes and punctuation well within 256 bytes.
func isBase64(text []byte) bool {
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
	value = skipSpace(value)
	tokens := int64(0) // how much a stored conversation holds is not known at all
	switch string(name) {
	case "ttl":
		s.Long = s.Long || bytes.HasPrefix(value, []byte(`"1h"`))
		return
	case "image_url", "url", "file_id", "file_url", "file_uri":
		if !pointer(value) {
			return
		}
		tokens = mediaTokens
	case "previous_response_id", "server_url", "container", "conversation":
		if !pointer(value) && !bytes.HasPrefix(value, []byte("{")) {
			return
		}
	case "prompt", "vector_store_ids":
		if !bytes.HasPrefix(value, []byte("{")) && !bytes.HasPrefix(value, []byte("[")) {
			return
		}
	default:
		if !escaped(name) { // in escapes it could be any of these
			return
		}
	}
	s.Media += tokens
	s.Remote = true
}

// pointer reports whether value is a string that points somewhere: neither empty nor a data URL.
func pointer(value []byte) bool {
	return len(value) > 1 && value[0] == '"' && value[1] != '"' && !bytes.HasPrefix(value, []byte(`"data:`))
}

// escaped reports whether name has letters in escapes.
func escaped(name []byte) bool { return bytes.Contains(name, []byte(`\u`)) }
