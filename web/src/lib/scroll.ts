// Stays at the end of a growing text for as long as the reader is there, and never moves a reader who is not.

/** Closer to the end than this counts as being there. */
const NEAR_PX = 64;

export class ScrollKeeper {
  #atEnd = true;
  #observer: ResizeObserver;

  constructor(
    private readonly scroller: HTMLElement,
    content: HTMLElement,
    private readonly changed: (atEnd: boolean) => void,
  ) {
    this.#observer = new ResizeObserver(() => (this.#atEnd ? this.toEnd() : this.#look()));
    this.#observer.observe(content);
    this.#observer.observe(scroller);
    scroller.addEventListener('scroll', this.#look, { passive: true });
  }

  destroy(): void {
    this.#observer.disconnect();
    this.scroller.removeEventListener('scroll', this.#look);
  }

  toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#set(true);
  }

  /** The reader opened something or looks at a certain place: stay there. */
  hold(): void {
    this.#atEnd = false;
  }

  /** Call directly before content is added above, and what it returns directly after: what is read stays where it is. */
  keepPlace(): () => void {
    const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop;
    this.#atEnd = false;
    return () => {
      this.scroller.scrollTop = this.scroller.scrollHeight - fromEnd;
      this.#look();
    };
  }

  #look = (): void => {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.#set(scrollHeight - scrollTop - clientHeight < NEAR_PX);
  };

  #set(atEnd: boolean): void {
    this.#atEnd = atEnd;
    this.changed(atEnd);
  }
}
