/** What stands in the way of a start, for the operator who can mend it. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** Takes a step of the start. What it rejects with is what stands in the way. */
export async function starting<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (cause) {
    throw new StartError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
