package strictjson

import "bytes"

// Edit replaces doc[Start:End] by With.
type Edit struct {
	Start, End int
	With       []byte
}

// Splice returns a copy of doc with edits done, which must be in order and not overlap: it panics if they are not.
func Splice(doc []byte, edits ...Edit) []byte {
	size, at := len(doc), 0
	for _, e := range edits {
		if e.Start < at || e.End < e.Start {
			panic("strictjson: edits overlap or are out of order")
		}
		size, at = size+len(e.With)-(e.End-e.Start), e.End
	}
	out := make([]byte, 0, size)
	at = 0
	for _, e := range edits {
		out = append(append(out, doc[at:e.Start]...), e.With...)
		at = e.End
	}
	return append(out, doc[at:]...)
}

// Replace returns the edit that gives v another value.
func Replace(v Value, value []byte) Edit { return Edit{v.Start, v.End, value} }

// Insert returns the edit that adds a member, which must not be there yet, at the end of the object value obj of doc.
// Several members of one object are added or removed by one Rewrite instead.
func Insert(doc []byte, obj Value, name string, value []byte) Edit {
	at := obj.End - 1
	with := make([]byte, 0, len(name)+len(value)+4)
	if !isEmpty(doc, obj) {
		with = append(with, ',')
	}
	return Edit{at, at, appendMember(with, name, value)}
}

// Remove returns the edit that takes the member v out of its object in doc, with the comma that goes with it.
func Remove(doc []byte, v Value) Edit {
	if next := skipSpace(doc, v.End); next < len(doc) && doc[next] == ',' {
		return Edit{Start: v.Name, End: skipSpace(doc, next+1)}
	}
	before := v.Name
	for before > 0 && isSpace(doc[before-1]) {
		before--
	}
	if before > 0 && doc[before-1] == ',' {
		return Edit{Start: before - 1, End: v.End}
	}
	return Edit{Start: v.Name, End: v.End}
}

// Change is what becomes of one member: Value nil takes it out; otherwise it gets that value, and is added if it was not
// there.
type Change struct {
	Name  string
	Value []byte
}

// Rewrite returns the edit that makes all changes to the object value obj of doc. What is not changed keeps its bytes
// and its place; what is new stands at the end, in the order given.
func Rewrite(doc []byte, obj Value, changes ...Change) Edit {
	room := obj.End - obj.Start
	for _, c := range changes {
		room += len(c.Name) + len(c.Value) + len(`"":,`)
	}
	with := append(make([]byte, 0, room), '{')
	done := make([]bool, len(changes))
	for name, v := range Members(doc, obj) {
		i := changeOf(changes, name)
		if i < 0 {
			with = append(comma(with), doc[v.Name:v.End]...)
			continue
		}
		if done[i] = true; changes[i].Value != nil {
			with = append(append(comma(with), doc[v.Name:v.Start]...), changes[i].Value...)
		}
	}
	for i, c := range changes {
		if !done[i] && c.Value != nil {
			with = appendMember(comma(with), c.Name, c.Value)
		}
	}
	return Edit{obj.Start, obj.End, append(with, '}')}
}

func changeOf(changes []Change, name []byte) int {
	for i := range changes {
		if changes[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// comma separates the next member of an object under construction from the one before.
func comma(with []byte) []byte {
	if len(with) > 1 {
		return append(with, ',')
	}
	return with
}

func appendMember(dst []byte, name string, value []byte) []byte {
	return append(append(Quote(dst, name), ':'), value...)
}

func isEmpty(doc []byte, obj Value) bool {
	return len(bytes.TrimLeft(doc[obj.Start+1:obj.End-1], " \t\r\n")) == 0
}
