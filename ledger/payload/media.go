package payload

import "strconv"

// mediaCharsMin is the length of a run of base64 from which it is left out: no word or key is as long, every picture is.
const mediaCharsMin = 2048

// withoutMedia is text without its long runs of base64, at most bytesMax of it, in memory of its own: not in as much as
// the text has with them, since it waits in the queue and counts there by its length.
func withoutMedia(text []byte, bytesMax int) part {
	var out []byte
	for len(text) > 0 {
		n, media := nextRun(text)
		piece := text[:n]
		text = text[n:]
		if media {
			piece = append(strconv.AppendInt([]byte("[media of "), int64(n), 10), " characters left out]"...)
		}
		if room := bytesMax - len(out); len(piece) > room {
			return part{append(out, piece[:room]...), true}
		}
		out = append(out, piece...)
	}
	return part{text: out}
}

// nextRun is the length of the long run of base64 that text begins with, or of what comes before the next one.
func nextRun(text []byte) (n int, media bool) {
	i := 0
	for i < len(text) {
		begin := i
		for i < len(text) && isBase64(text[i]) {
			i++
		}
		if i-begin >= mediaCharsMin {
			if begin == 0 {
				return i, true
			}
			return begin, false
		}
		for i < len(text) && !isBase64(text[i]) {
			i++
		}
	}
	return i, false
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}
