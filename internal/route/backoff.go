package route

import "time"

// backoff is a pause that doubles with each failure in a row and is jittered by half, so that those who failed
// together do not come back together.
type backoff struct {
	min, max time.Duration
}

// pause returns how long to wait after so many failures before this one; random is any number.
func (b backoff) pause(failures int, random uint64) time.Duration {
	delay := b.max
	if failures < 30 && b.min<<failures < b.max {
		delay = b.min << failures
	}
	half := delay / 2
	return half + time.Duration(random%uint64(delay-half+1))
}
