// Package plan says what a chaos run is about: the keys and whom they belong to, the limits on their way, what the
// upstreams charge. The gateway gets it as a config file and rules (Config, Rules), the workers as what they may ask for,
// the checker as what must hold. The checker reads amounts and prices from here, never from the gateway.
package plan
