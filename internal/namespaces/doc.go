// Package namespaces makes a network of its own on one Linux machine: a switch, and hosts on it, each in a network
// namespace, with rules of the packet filter between them. Processes that are started in a host reach the others by
// their addresses, until a rule drops what one sends to another. A host may have its connections to another led to a port
// of its own instead, where a proxy waits: who connects does not notice.
//
// Nothing of it is visible outside, and nothing is left: the namespaces have no name, so that the kernel removes them
// with their links, addresses and rules when the last process in them and the process that made them are gone,
// however they ended. It needs the privileges of root. Methods are safe for use from many goroutines.
package namespaces

import "errors"

// ErrUnavailable says that this system, or this user, has no network namespaces or no packet filter.
var ErrUnavailable = errors.New("namespaces: not available here")

// HostsMax is how many hosts a Network has at most at a time.
const HostsMax = 250
