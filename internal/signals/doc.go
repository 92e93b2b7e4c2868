// Package signals is what those need who start real processes and stop them in the middle: a child that does not outlive
// its parent, and whether it stands still.
package signals
