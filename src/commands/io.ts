/** Where a command prints. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** The part of `process` that signals concern. */
export type SignalledProcess = Pick<NodeJS.EventEmitter, 'on' | 'off' | 'removeAllListeners'> & {
  readonly stderr: Output;
  exit(code: number): void;
};

/** What a command has of its process beside its arguments: `process` itself, or what a test hands in. */
export interface Io extends SignalledProcess {
  readonly stdin: AsyncIterable<Buffer> & { readonly isTTY?: boolean };
  readonly stdout: Output;
  /** The folder at which paths start. */
  cwd(): string;
}
