package registers

import (
	"errors"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Errors of Check.
var (
	// ErrNotLinearizable: no order of the operations explains what was answered.
	ErrNotLinearizable = errors.New("registers: not linearizable")
	// ErrUndecided: there was not enough time to find out.
	ErrUndecided = errors.New("registers: not judged in time")
)

// Check judges the history within a time. No client may run.
func (h *History) Check(timeout time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch porcupine.CheckOperationsTimeout(model(), h.operations, timeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("%w: %s", ErrNotLinearizable, h.culprits(timeout))
	default:
		return fmt.Errorf("%w: %d operations in %v", ErrUndecided, len(h.operations), timeout)
	}
}

// culpritsMax bounds how many objects an error names.
const culpritsMax = 5

// culprits names objects whose operations alone cannot be explained.
func (h *History) culprits(timeout time.Duration) string {
	names := ""
	found := 0
	for _, part := range model().Partition(h.operations) {
		if found == culpritsMax {
			break
		}
		if porcupine.CheckOperationsTimeout(model(), part, timeout) == porcupine.Illegal {
			found++
			names += fmt.Sprintf("\n%s, %d operations", part[0].Input.(access).oid, len(part))
		}
	}
	return names
}

// model is that of objects which hold what was written last.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: byObject,
		Init:      func() any { return "" },
		Step: func(state, _, output any) (bool, any) {
			a := output.(access)
			return a.put || a.value == state, a.value
		},
		DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
	}
}

// byObject divides a history by object, in the order in which they first come.
func byObject(all []porcupine.Operation) [][]porcupine.Operation {
	at := map[string]int{}
	var partitions [][]porcupine.Operation
	for _, operation := range all {
		oid := operation.Input.(access).oid
		i, known := at[oid]
		if !known {
			i = len(partitions)
			at[oid], partitions = i, append(partitions, nil)
		}
		partitions[i] = append(partitions[i], operation)
	}
	return partitions
}
