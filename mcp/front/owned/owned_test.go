package owned

import "testing"

func TestThings(t *testing.T) {
	ts := New[string, int](3, ID)
	var ids []string
	for i := range 3 {
		id, ok := ts.Add("alice", i)
		if !ok || len(id) != 32 {
			t.Fatalf("%q %v", id, ok)
		}
		ids = append(ids, id)
	}
	if _, ok := ts.Add("alice", 3); ok {
		t.Error("no bound")
	}
	other, ok := ts.Add("bob", 9)
	if !ok {
		t.Error("another pays for it")
	}
	if v, ok := ts.Find(ids[1], "alice"); !ok || v != 1 {
		t.Errorf("found %d %v", v, ok)
	}
	for _, who := range []struct{ id, owner string }{{ids[1], "bob"}, {other, "alice"}, {"", "alice"}} {
		if v, ok := ts.Find(who.id, who.owner); ok || v != 0 {
			t.Errorf("%s finds %d", who.owner, v)
		}
	}
	ts.Remove(ids[1])
	ts.Remove(ids[1])
	if _, ok := ts.Find(ids[1], "alice"); ok {
		t.Error("it is still there")
	}
	if _, ok := ts.Add("alice", 4); !ok {
		t.Error("a place that was left is not free")
	}
	if len(ts.counts) != 2 || ts.counts["alice"] != 3 {
		t.Errorf("counted %v", ts.counts)
	}
}
