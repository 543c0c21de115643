package era

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// The states of a task. The last three end it.
const (
	TaskWorking   = "working"
	TaskInput     = "input_required"
	TaskCompleted = "completed"
	TaskFailed    = "failed"
	TaskCancelled = "cancelled"
)

// taskIDBytesMax bounds a server's id of a task: it goes into ids of the gateway's, which go into headers.
const taskIDBytesMax = 1 << 10

// TaskState is a task as its server describes it: in the result that makes it, in that of tasks/get and in notifications.
type TaskState struct {
	ID      string // the server's
	Status  string
	Message string        // statusMessage; empty: none
	TTL     time.Duration // from its making; 0: without end
	Poll    time.Duration // how long to wait before asking again; 0: the server does not say

	Result []byte // raw; of a completed one
	Error  []byte // raw; of a failed one
	Asks   bool   // of one that waits for input: it says for which

	raw []byte
}

var taskPaths = strictjson.Compile("taskId", "status", "statusMessage", "ttlMs", "pollIntervalMs", "result", "error", "inputRequests")

// ReadTask reads a task. An error means that it is none, or that what its status promises is not there.
func ReadTask(raw []byte) (*TaskState, error) {
	var at [8]strictjson.Value
	if err := taskPaths.Scan(raw, resultLimits, at[:]); err != nil {
		return nil, fmt.Errorf("reading a task: %w", err)
	}
	t := &TaskState{raw: raw, TTL: milliseconds(at[3].In(raw)), Poll: milliseconds(at[4].In(raw))}
	var ok, named bool
	t.ID, named = text(at[0].In(raw))
	t.Status, ok = text(at[1].In(raw))
	t.Message, _ = text(at[2].In(raw))
	object := func(v strictjson.Value) []byte {
		if v.Kind == '{' {
			return v.In(raw)
		}
		ok = false
		return nil
	}
	switch {
	case !named || t.ID == "" || len(t.ID) > taskIDBytesMax:
		return nil, fmt.Errorf("reading a task: taskId is missing, empty or longer than %d bytes", taskIDBytesMax)
	case t.Status == TaskWorking, t.Status == TaskCancelled:
	case t.Status == TaskInput: // as it is made it does not say for which input
		t.Asks = at[7].Present()
	case t.Status == TaskCompleted && !at[5].Present():
	case t.Status == TaskCompleted:
		t.Result = object(at[5])
	case t.Status == TaskFailed && !at[6].Present():
	case t.Status == TaskFailed:
		t.Error = object(at[6])
	default:
		ok = false
	}
	if !ok {
		return nil, errors.New("reading a task: its status is none, or what belongs to it is no object")
	}
	return t, nil
}

// Input is what a task waits for that Asks.
func (t *TaskState) Input() (*Input, error) { return (&Result{Raw: t.raw}).Input() }

// milliseconds reads a raw number of milliseconds; 0: it is none, or beyond a year, which is as good as without end.
func milliseconds(raw []byte) time.Duration {
	const most = 365 * 24 * time.Hour
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f <= 0 || f > float64(most/time.Millisecond) {
		return 0
	}
	return time.Duration(f * float64(time.Millisecond))
}

// WithTaskID returns a task, or what acknowledges a request about one, under another id. Which server has done the work is
// not told in the result within it either.
func WithTaskID(raw []byte, id string) []byte {
	whole := strictjson.Whole(raw)
	var changes []strictjson.Change
	if strictjson.Lookup(raw, whole, "taskId").Present() {
		changes = append(changes, strictjson.Change{Name: "taskId", Value: rpc.String(id)})
	}
	result := strictjson.Lookup(raw, whole, "result")
	meta := strictjson.Lookup(raw, result, "_meta")
	if strictjson.Lookup(raw, meta, keyServer).Present() {
		anonymous := rpc.With(meta.In(raw), strictjson.Change{Name: keyServer})
		changes = append(changes, strictjson.Change{Name: "result", Value: rpc.With(result.In(raw), strictjson.Change{Name: "_meta", Value: anonymous})})
	}
	if changes == nil {
		return raw
	}
	return rpc.With(raw, changes...)
}
