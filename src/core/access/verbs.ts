/** What a rule can allow, as the configuration writes it. docs/security.md says which calls each covers. */
export const VERBS = ['read', 'call', 'send', 'refresh', 'status', 'admin'] as const;

/** One of the things that a rule can allow. */
export type Verb = (typeof VERBS)[number];
