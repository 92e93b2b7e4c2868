// Package transactions is a model of the whole transaction layer: clerks, shards, primaries that change, a
// network that loses, delays and reorders, and everybody dying at the worst moment, in one goroutine and from
// one seed. The machines in it are the real ones (packages commit, terminate and history); what is modelled is
// only what drives them: a shard's group is a log that its replicas apply, each at its own pace.
//
// A history is a few transactions over a few keys. Run plays one from a seed, heals everything, and judges
// it: strictly serializable in timestamp order (package check), nobody told anything that is not true, at most
// one attempt committed, all shards of one mind, nothing in doubt at the end.
//
// The tests play hundreds of thousands, and with each single rule left out enough to see it missed. The same
// seed always plays the same history; a failure prints the command that plays it again.
package transactions
