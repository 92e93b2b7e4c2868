package route

import (
	"slices"
	"time"
)

// alonePause is how long a watch listens to a replica that knows no primary, before it asks another one.
const alonePause = 5 * time.Second

// preferPause is how long a watch stays where it is after the coordinator's primary was not reached.
const preferPause = 2 * time.Second

// watch decides which replica of the coordinator to listen to: its primary, since shards report to that one,
// or whoever answers. It is pure; now counts from any point.
type watch struct {
	addresses []string
	cursor    int
	// primary is what was last heard of; notBefore is when it may be tried again.
	primary   string
	notBefore time.Duration
	// alone is since when nobody names a primary, where that is so.
	alone   time.Duration
	isAlone bool
	// failures counts streams in a row that brought nothing, moves those that only named another primary.
	failures, moves int
}

// next returns the address to listen to.
func (w *watch) next(now time.Duration) string {
	if w.primary != "" && now >= w.notBefore {
		return w.primary
	}
	return w.addresses[w.cursor%len(w.addresses)]
}

// know replaces the addresses by the map's, followed by those that were configured.
func (w *watch) know(members, configured []string) {
	addresses := slices.Clone(members)
	for _, address := range configured {
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	if !slices.Equal(addresses, w.addresses) {
		w.addresses, w.cursor = addresses, 0
	}
}

// heard takes a message from an address, where a member is or somebody who is none any more, or not yet. It returns true
// when another one is to be listened to instead.
func (w *watch) heard(from, primary string, member bool, now time.Duration) bool {
	if primary != "" && primary != w.primary {
		w.primary, w.notBefore = primary, 0
	}
	if !member {
		// It knows who came after it, and nothing else that is new.
		if w.primary == from {
			w.primary = ""
		}
		w.pass(from)
		return true
	}
	w.failures = 0
	if primary == "" {
		w.moves = 0
		return w.tooLongAlone(from, now)
	}
	w.isAlone = false
	if primary == from {
		w.moves = 0
		return false
	}
	if at := slices.Index(w.addresses, from); at >= 0 {
		w.cursor = at // should the primary not be reached, here is somebody who answers
	}
	return now >= w.notBefore
}

// ended takes that listening to an address is over, by its own wish or not, and returns how long to pause.
func (w *watch) ended(address string, moved bool, now time.Duration, pause backoff, random uint64) time.Duration {
	if moved {
		// While views change, two replicas may name each other.
		if w.moves++; w.moves > hopsMax {
			return pause.pause(w.moves-hopsMax-1, random)
		}
		return 0
	}
	if address == w.primary {
		w.notBefore = now + preferPause
	}
	w.pass(address)
	w.failures++
	if w.failures == 1 {
		return 0
	}
	return pause.pause(w.failures-2, random)
}

// tooLongAlone reports whether to go on from a replica that knows no primary, and so may be cut off from its group, or be
// a member no more without knowing it.
func (w *watch) tooLongAlone(from string, now time.Duration) bool {
	if !w.isAlone {
		w.isAlone, w.alone = true, now
	}
	if now-w.alone < alonePause {
		return false
	}
	w.alone = now
	if w.primary == from {
		w.notBefore = now + preferPause // it was
	}
	w.pass(from)
	return true
}

// pass goes on to the next address, if that one's turn it is.
func (w *watch) pass(address string) {
	if w.addresses[w.cursor%len(w.addresses)] == address {
		w.cursor = (w.cursor + 1) % len(w.addresses)
	}
}
