// Package gate is the one door. Every call to an upstream, from whichever front, is one [Gate.Do]: decide, reserve, do,
// settle. Inside it a [Permit] is the only key to a credential and to the network; it is for one upstream and one target
// and dies when Do returns. No other package holds a transport.
package gate
