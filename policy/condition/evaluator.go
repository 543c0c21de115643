package condition

import (
	"fmt"

	"github.com/expr-lang/expr/vm"
)

// Evaluator evaluates conditions for one decision at a time. It may be used again after Reset. One goroutine at a time.
type Evaluator struct {
	Vars    Vars
	Args    []byte // the call's raw arguments; decoded when the first condition reads them
	NoSpend bool   // nothing is known of what was spent: conditions that read spend fail

	machine vm.VM
	meter   meter
	argErr  error
	decoded bool
}

var errSpend = &evalError{"what was spent so far is not known"}

// Reset forgets the last decision: nothing of a call may live on in a pool.
func (e *Evaluator) Reset() {
	clear(e.machine.Stack[:cap(e.machine.Stack)])
	clear(e.machine.Variables)
	*e = Evaluator{machine: e.machine}
}

// Holds evaluates x. members are the arguments that the conditions of this decision read (nil: all of them); the first
// call that reads arguments decides for all. An error means that x has no answer.
func (e *Evaluator) Holds(x *Expression, members []string) (yes bool, err error) {
	if x == nil {
		return true, nil
	}
	defer func() {
		if r := recover(); r != nil {
			yes, err = false, fmt.Errorf("%v", r)
		}
	}()
	if e.Exhausted() {
		return false, errSteps
	}
	if x.uses.Spend && e.NoSpend {
		return false, errSpend
	}
	if x.uses.Args {
		if err := e.decode(members); err != nil {
			return false, err
		}
	}
	e.meter.left = StepsMax
	e.Vars.Meter = &e.meter
	out, err := e.machine.Run(x.program, &e.Vars)
	if err != nil {
		return false, err
	}
	yes, ok := out.(bool)
	if !ok {
		return false, &evalError{"the condition is not true or false"}
	}
	return yes, nil
}

func (e *Evaluator) decode(members []string) error {
	if !e.decoded {
		e.decoded = true
		e.Vars.Args, e.argErr = decodeArgs(e.Args, members)
	}
	return e.argErr
}

// Exhausted reports whether the decision has used more than DecisionStepsMax steps.
func (e *Evaluator) Exhausted() bool { return e.meter.total > DecisionStepsMax }
