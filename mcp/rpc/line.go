package rpc

import (
	"bufio"
	"bytes"
	"errors"
)

// ErrLineTooLong means that a line exceeds its bound.
var ErrLineTooLong = errors.New("the line is too long")

// ReadLine returns the next line of stdio without its end, in memory of its own; the last one may lack an end and comes
// with the error that cut it. A line, with its end, of more than bytesMax is ErrLineTooLong: the rest of it is still
// there, for [SkipLine].
func ReadLine(in *bufio.Reader, bytesMax int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > bytesMax {
			if err == nil {
				_ = in.UnreadByte() // the end of the line, for SkipLine
			}
			return nil, ErrLineTooLong
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil {
			line = line[:len(line)-1]
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return line, err
	}
}

// SkipLine throws away what is left of a line.
func SkipLine(in *bufio.Reader) error {
	for {
		_, err := in.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// AppendLine appends a message as one line, with its end. Line breaks in JSON stand between tokens only and mean nothing:
// they are left out.
func AppendLine(b, msg []byte) []byte {
	for len(msg) > 0 {
		n := bytes.IndexAny(msg, "\r\n")
		if n < 0 {
			b = append(b, msg...)
			break
		}
		b, msg = append(b, msg[:n]...), msg[n+1:]
	}
	return append(b, '\n')
}
