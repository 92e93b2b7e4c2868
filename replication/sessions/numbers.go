package sessions

// numbers gives out the request numbers of one session, pure. A number is open from the moment it is taken until
// its outcome is known; the lowest that is open is what the client acknowledges up to.
type numbers struct {
	lowest, next uint64
	// states has the state of number n, from lowest to next-1, at n modulo its length, which is the window.
	states []numberState
}

type numberState uint8

const (
	numberDone numberState = iota
	// numberOpen: somebody waits for its outcome.
	numberOpen
	// numberAdrift: its outcome is not known and nobody waits for it, though somebody may ask again.
	numberAdrift
)

func newNumbers(window int) numbers {
	return numbers{lowest: 1, next: 1, states: make([]numberState, window)}
}

func (n *numbers) at(number uint64) *numberState { return &n.states[number%uint64(len(n.states))] }

// take opens the next number; ok is false when the window has no room.
func (n *numbers) take() (number, acknowledged uint64, ok bool) {
	if n.next-n.lowest >= uint64(len(n.states)) {
		return 0, 0, false
	}
	number = n.next
	n.next++
	*n.at(number) = numberOpen
	return number, n.lowest, true
}

// settle closes a number whose outcome is known. To close one twice is harmless.
func (n *numbers) settle(number uint64) {
	if number < n.lowest || number >= n.next {
		return
	}
	*n.at(number) = numberDone
	for n.lowest < n.next && *n.at(n.lowest) == numberDone {
		n.lowest++
	}
}

// leave notes that nobody waits for a number any more whose outcome is not known. It stays open: what is
// acknowledged cannot be asked for.
func (n *numbers) leave(number uint64) {
	if number >= n.lowest && number < n.next {
		*n.at(number) = numberAdrift
	}
}

// stuck says that the window has no room, and that waiting makes none: the session is of use only to those who ask
// for what is adrift.
func (n *numbers) stuck() bool {
	return n.next-n.lowest >= uint64(len(n.states)) && *n.at(n.lowest) == numberAdrift
}
